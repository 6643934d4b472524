// The issue manager's three tabs. They are links: each has an address of its own.
import { NavLink } from "react-router";
import { useSpeech } from "../i18n";
import { may, useSession } from "../session";

export function IssueTabs() {
  const { t } = useSpeech();
  const { role } = useSession();
  return (
    <nav className="tabs" aria-label={t("nav.issues")}>
      <NavLink to="/issues/open">{t("tab.open")}</NavLink>
      {may.report(role) && <NavLink to="/issues/report">{t("tab.report")}</NavLink>}
      <NavLink to="/issues/history">{t("tab.history")}</NavLink>
    </nav>
  );
}
