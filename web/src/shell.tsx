// What is around every page: the menu, who is logged in, language and theme.
import { type ReactNode, useEffect, useRef, useState } from "react";
import { NavLink, useLocation } from "react-router";
import type { Role } from "./api/client";
import { framed } from "./embed/framed";
import { FrozenBanner } from "./frozen";
import { type Key, useSpeech } from "./i18n";
import { may, useLogIn, useSession } from "./session";
import { setTheme, storedTheme, type Theme } from "./theme";
import { Icon } from "./ui/icons";
import { OfflineBanner } from "./ui/states";
import { useTell } from "./ui/toast";

type Tile = {
  to: string;
  name: Key;
  icon: Parameters<typeof Icon>[0]["name"];
  allowed: (role: Role) => boolean;
};

const TILES: Tile[] = [
  { to: "/issues", name: "nav.issues", icon: "issues", allowed: may.seeIssues },
  { to: "/policies", name: "nav.policies", icon: "policies", allowed: may.audit },
  { to: "/decisions", name: "nav.decisions", icon: "decisions", allowed: may.audit },
  { to: "/audit", name: "nav.audit", icon: "audit", allowed: may.audit },
  { to: "/insights", name: "nav.insights", icon: "insights", allowed: may.audit },
  { to: "/host", name: "nav.host", icon: "host", allowed: may.decide },
  { to: "/people", name: "nav.people", icon: "people", allowed: may.decide },
];

export function Shell({ children }: { children: ReactNode }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const main = useRef<HTMLElement>(null);
  useArrival(main);
  const tiles = framed ? [] : TILES.filter((tile) => tile.allowed(role));
  return (
    <div className="shell">
      <a className="skip" href="#main">
        {t("nav.skip")}
      </a>
      <header className="top">
        {!framed && (
          <NavLink className="brand" to="/">
            <img src="/icon.svg" alt="" width="28" height="28" />
            Selfheal
          </NavLink>
        )}
        <Preferences />
        <Account />
      </header>
      {tiles.length > 0 && (
        <nav className="tiles" aria-label={t("nav.main")}>
          {tiles.map((tile) => (
            <NavLink key={tile.to} to={tile.to}>
              <Icon name={tile.icon} />
              <span>{t(tile.name)}</span>
            </NavLink>
          ))}
        </nav>
      )}
      <main id="main" ref={main} tabIndex={-1}>
        <OfflineBanner />
        {may.decide(role) && <FrozenBanner />}
        {children}
      </main>
    </div>
  );
}

/** Whoever goes to another page starts at its top, with the keyboard too. */
function useArrival(main: React.RefObject<HTMLElement | null>) {
  const { pathname } = useLocation();
  const first = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: arriving is a change of the path
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    main.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
    main.current?.scrollTo(0, 0);
  }, [pathname, main]);
}

/** Language and theme; also on the log-in page. */
export function Preferences() {
  const { t, language, setLanguage } = useSpeech();
  const [theme, choose] = useState<Theme>(storedTheme);
  return (
    <div className="preferences">
      <select
        aria-label={t("nav.language")}
        value={language}
        onChange={(event) => setLanguage(event.target.value === "de" ? "de" : "en")}
      >
        <option value="en">English</option>
        <option value="de">Deutsch</option>
      </select>
      <select
        aria-label={t("nav.theme")}
        value={theme}
        onChange={(event) => {
          const next = event.target.value as Theme;
          setTheme(next);
          choose(next);
        }}
      >
        <option value="system">{t("theme.system")}</option>
        <option value="light">{t("theme.light")}</option>
        <option value="dark">{t("theme.dark")}</option>
      </select>
    </div>
  );
}

/** Leads to one's own account, where there is anything to do with it. */
function Who({ children }: { children: ReactNode }) {
  const { role } = useSession();
  if (framed || !may.seeIssues(role)) return <span className="who">{children}</span>;
  return (
    <NavLink className="who" to="/account">
      {children}
    </NavLink>
  );
}

function Account() {
  const { t } = useSpeech();
  const { username, role } = useSession();
  const { logOut } = useLogIn();
  const { failed } = useTell();
  return (
    <div className="account">
      <Who>
        <strong dir="auto">{username}</strong> <small>{t(`role.${role}`)}</small>
      </Who>
      <button type="button" onClick={() => logOut().catch(failed)}>
        {t("nav.logout")}
      </button>
    </div>
  );
}
