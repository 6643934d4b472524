import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { OFFLINE, Problem } from "./api/client";
import { App } from "./app";
import { basename, framed, tellHeight } from "./embed/framed";
import { LanguageProvider } from "./i18n";
import { ToastProvider } from "./ui/toast";
import "./style/app.css";

/** Whoever's session ended sees the log-in page, with what they typed kept as a draft. */
function watch(error: unknown): void {
  if (error instanceof Problem && error.status === 401) queries.setQueryData(["session"], null);
}

const queries = new QueryClient({
  queryCache: new QueryCache({ onError: watch }),
  mutationCache: new MutationCache({ onError: watch }),
  defaultOptions: {
    mutations: { networkMode: "always" },
    queries: {
      staleTime: 5_000,
      // Without a network a question fails at once and says so, instead of waiting.
      networkMode: "always",
      refetchOnReconnect: true,
      // What is refused stays refused; what did not arrive may arrive.
      retry: (count, error) =>
        count < 2 && error instanceof Problem && (error.status === OFFLINE || error.status === 503),
    },
  },
});

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
if (framed) tellHeight();
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <LanguageProvider>
        <ToastProvider>
          <BrowserRouter basename={basename}>
            <App />
          </BrowserRouter>
        </ToastProvider>
      </LanguageProvider>
    </QueryClientProvider>
  </StrictMode>,
);
