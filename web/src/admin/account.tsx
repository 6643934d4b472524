// One's own account: who one is here, and one's tokens.
import { useSpeech } from "../i18n";
import { useSession } from "../session";
import { useTitle } from "../ui/title";
import { NewToken, Tokens } from "./tokens";

export default function AccountPage() {
  const { t } = useSpeech();
  const { username, role } = useSession();
  useTitle(t("account.title"));
  return (
    <>
      <div className="page-head">
        <h1>{t("account.title")}</h1>
      </div>
      <p>{t("account.who", { name: username, role: t(`role.${role}`) })}</p>
      <NewToken role={role} />
      <section className="card" aria-labelledby="own-tokens">
        <h2 id="own-tokens">{t("tokens.own")}</h2>
        <Tokens />
      </section>
    </>
  );
}
