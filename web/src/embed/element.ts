// `<selfheal-issues>`: the issues in a page of another application, by one script tag:
//
//   <script src="https://heal.example.org/embed.js"></script>
//   <selfheal-issues tab="report"></selfheal-issues>
//
// It is a frame of the host's own origin: that application's scripts see neither session
// nor issues, and its styles do not reach in. The host shows it to the origins of
// `embed_in` in selfheal.toml only.
import type { Height } from "./height";

// A script of its own for every browser, with nothing left behind but the element.
(() => {
  const script = document.currentScript;
  const home = new URL(script instanceof HTMLScriptElement ? script.src : location.href).origin;
  const TABS = ["open", "report", "history"];
  const FIRST_HEIGHT = 480;
  const MOST_HEIGHT = 100_000;

  /** What another page may have sent is not taken at its word. */
  function isHeight(data: unknown): data is Height {
    const { selfhealHeight } = (data ?? {}) as Partial<Height>;
    return (
      typeof selfhealHeight === "number" && selfhealHeight >= 0 && selfhealHeight <= MOST_HEIGHT
    );
  }

  class Issues extends HTMLElement {
    static readonly observedAttributes = ["tab"];
    private readonly frame = document.createElement("iframe");
    private readonly grow = (event: MessageEvent) => {
      if (event.source !== this.frame.contentWindow || event.origin !== home) return;
      if (isHeight(event.data)) this.frame.style.height = `${event.data.selfhealHeight}px`;
    };

    constructor() {
      super();
      const { style } = this.frame;
      style.display = "block";
      style.width = "100%";
      style.height = `${FIRST_HEIGHT}px`;
      style.border = "0";
      this.frame.title = "Issues";
      this.attachShadow({ mode: "open" }).append(this.frame);
    }

    connectedCallback(): void {
      addEventListener("message", this.grow);
      this.show();
    }

    disconnectedCallback(): void {
      removeEventListener("message", this.grow);
    }

    attributeChangedCallback(): void {
      if (this.isConnected) this.show();
    }

    private show(): void {
      const wanted = this.getAttribute("tab") ?? "";
      const tab = TABS.includes(wanted) ? wanted : "open";
      this.frame.title = this.getAttribute("label") ?? "Issues";
      this.frame.src = `${home}/embed/issues/${tab}`;
    }
  }
  if (customElements.get("selfheal-issues") === undefined) {
    customElements.define("selfheal-issues", Issues);
  }
})();
