// Which page is shown for which address, to whom.
import { lazy, type ReactNode, Suspense, useEffect } from "react";
import { Navigate, Route, Routes, useLocation } from "react-router";
import type { Role } from "./api/client";
import { framed } from "./embed/framed";
import { useSpeech } from "./i18n";
import { IssueListPage } from "./issues/list";
import { LogInPage } from "./log-in";
import { may, SessionProvider, useSession, useSessionQuery } from "./session";
import { Shell } from "./shell";
import { Failure, Loading, Note } from "./ui/states";

const ReportPage = lazy(() => import("./issues/report"));
const IssuePage = lazy(() => import("./issues/issue"));
const PoliciesPage = lazy(() => import("./admin/policies"));
const DecisionsPage = lazy(() => import("./admin/decisions"));
const AuditPage = lazy(() => import("./admin/audit"));
const InsightsPage = lazy(() => import("./admin/insights"));
const HostPage = lazy(() => import("./admin/host"));
const PeoplePage = lazy(() => import("./admin/people"));
const AccountPage = lazy(() => import("./admin/account"));

export function App() {
  const session = useSessionQuery();
  if (session.isPending) return <Loading />;
  if (session.isError) return <Failure error={session.error} again={session.refetch} />;
  if (session.data === null) return <LogInPage />;
  return (
    <SessionProvider session={session.data} key={session.data.username}>
      <Shell>
        <Suspense fallback={<Loading />}>
          <Pages />
        </Suspense>
      </Shell>
    </SessionProvider>
  );
}

function Pages() {
  const { role } = useSession();
  if (!may.seeIssues(role)) return <NoPermission />;
  return (
    <Routes>
      <Route path="/" element={<Navigate to="/issues/open" replace />} />
      <Route path="/issues" element={<Navigate to="/issues/open" replace />} />
      <Route path="/issues/open" element={<IssueListPage key="open" tab="open" />} />
      <Route path="/issues/history" element={<IssueListPage key="history" tab="history" />} />
      <Route path="/issues/report" element={only(may.report, <ReportPage />)} />
      <Route path="/issues/:issue" element={<Keyed />} />
      <Route path="*" element={<Nowhere />} />
      {!framed && whole()}
    </Routes>
  );
}

/** What is not shown in another application's page. */
function whole() {
  return (
    <>
      <Route path="/policies" element={only(may.audit, <PoliciesPage />)} />
      <Route path="/decisions" element={only(may.audit, <DecisionsPage />)} />
      <Route path="/audit" element={only(may.audit, <AuditPage />)} />
      <Route path="/insights" element={only(may.audit, <InsightsPage />)} />
      <Route path="/host" element={only(may.decide, <HostPage />)} />
      <Route path="/account" element={<AccountPage />} />
      <Route path="/people" element={only(may.decide, <PeoplePage />)} />
    </>
  );
}

/** Another issue is another page: nothing of the one before stays. */
function Keyed() {
  const { pathname } = useLocation();
  return <IssuePage key={pathname} />;
}

function only(allowed: (role: Role) => boolean, page: ReactNode) {
  return <Only allowed={allowed}>{page}</Only>;
}

function Only({ allowed, children }: { allowed: (role: Role) => boolean; children: ReactNode }) {
  const { role } = useSession();
  return allowed(role) ? children : <NoPermission />;
}

function NoPermission() {
  const { t } = useSpeech();
  const { role } = useSession();
  useTitle(t("state.forbidden"));
  return <Note title={t("state.forbidden")}>{t("state.forbidden.more", { role })}</Note>;
}

function Nowhere() {
  const { t } = useSpeech();
  useTitle(t("state.nowhere"));
  return <Note title={t("state.nowhere")}>{t("state.nowhere.more")}</Note>;
}

function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · Selfheal`;
  }, [title]);
}
