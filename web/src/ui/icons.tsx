// The few pictures of the menu; words stand beside each.
const PATHS = {
  issues: "M4 6h16M4 12h16M4 18h10",
  policies: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z",
  decisions: "M12 3v18M5 8l-3 6h6zM19 8l-3 6h6zM5 8h14",
  audit: "M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3",
  insights: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  host: "M4 5h16v6H4zM4 13h16v6H4zM7 8h.01M7 16h.01",
  people:
    "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2.5 20c0-4 3-6 6.5-6s6.5 2 6.5 6M16 4.5a3.5 3.5 0 010 6.5M18 14.5c2.2.7 3.5 2.6 3.5 5.5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
};

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
