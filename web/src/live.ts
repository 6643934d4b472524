// Server-sent events: resumed where they broke off, closed while nobody looks (browsers
// allow six connections to one host, over all tabs).

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useState } from "react";
import type { Event } from "./api/client";

export type Liveness = "connecting" | "live" | "lost";

const RETRY_MS = 4_000;

type Handlers = { onEvent: (event: Event) => void; onProgress?: (note: string) => void };

export function useStream(path: string, handlers: Handlers): Liveness {
  const [liveness, setLiveness] = useState<Liveness>("connecting");
  const queries = useQueryClient();
  const onEvent = useEffectEvent(handlers.onEvent);
  const onProgress = useEffectEvent((note: string) => handlers.onProgress?.(note));

  useEffect(() => {
    let source: EventSource | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last: string | null = null;

    const open = () => {
      close();
      const query = last === null ? "" : `?lastEventId=${encodeURIComponent(last)}`;
      source = new EventSource(`/api/v1${path}${query}`);
      source.onopen = () => setLiveness("live");
      source.onmessage = (message) => {
        last = message.lastEventId;
        onEvent(JSON.parse(message.data) as Event);
      };
      source.addEventListener("progress", (message) => {
        onProgress((JSON.parse(message.data) as { note: string }).note);
      });
      source.onerror = () => {
        setLiveness("lost");
        // The browser comes back by itself unless the host said no: then the session
        // may have ended, which the query finds out.
        if (source?.readyState === EventSource.CLOSED) {
          queries.invalidateQueries({ queryKey: ["session"] });
          timer = setTimeout(open, RETRY_MS);
        }
      };
    };
    const close = () => {
      clearTimeout(timer);
      source?.close();
      source = null;
    };
    const look = () => (document.hidden ? close() : open());

    open();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      close();
    };
  }, [path, queries]);
  return liveness;
}
