// Whether the page stands in another application's page, which shows the issues alone:
// what decides about patches, policies and people is not offered where somebody else's
// page lies around the buttons.
import type { Height } from "./height";

const BASE = "/embed";

export const framed = location.pathname.startsWith(`${BASE}/`);
export const basename = framed ? BASE : "/";

/** Keeps the page around informed about the height. */
export function tellHeight(): void {
  document.documentElement.classList.add("framed");
  const tell = () => {
    const height: Height = { selfhealHeight: document.body.offsetHeight };
    parent.postMessage(height, "*");
  };
  new ResizeObserver(tell).observe(document.body);
}
