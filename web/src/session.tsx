// Who is logged in, and what their role lets them see.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext } from "react";
import { api, data, Problem, type Role, type Session } from "./api/client";
import { framed } from "./embed/framed";

const KEY = ["session"];

/** The session; null when nobody is logged in. */
export function useSessionQuery() {
  return useQuery({
    queryKey: KEY,
    queryFn: async (): Promise<Session | null> => {
      try {
        return await data<Session>(api.GET("/api/v1/session"));
      } catch (error) {
        if (error instanceof Problem && error.status === 401) return null;
        throw error;
      }
    },
    staleTime: 60_000,
  });
}

/** Logs in and out; everything that was loaded for one person is forgotten for the next. */
export function useLogIn() {
  const queries = useQueryClient();
  const become = (session: Session | null) => {
    queries.removeQueries({ predicate: (query) => query.queryKey[0] !== KEY[0] });
    queries.setQueryData(KEY, session);
  };
  return {
    logIn: async (username: string, password: string) => {
      const session = await data<Session>(
        api.POST("/api/v1/session", { body: { username, password } }),
      );
      become(session);
    },
    logOut: async () => {
      await api.DELETE("/api/v1/session");
      become(null);
    },
  };
}

const Context = createContext<Session | null>(null);

export function SessionProvider({ session, children }: { session: Session; children: ReactNode }) {
  return <Context value={session}>{children}</Context>;
}

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error("outside of <SessionProvider>");
  return session;
}

/** What the host lets a role do (the host checks again). */
export const may = {
  seeIssues: (role: Role) => role === "user" || role === "admin" || role === "auditor",
  seeAllIssues: (role: Role) => role === "admin" || role === "auditor",
  report: (role: Role) => role === "user" || role === "admin",
  /** Not where another application's page lies around the buttons. */
  decide: (role: Role) => role === "admin" && !framed,
  audit: (role: Role) => role === "admin" || role === "auditor",
};
