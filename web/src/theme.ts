// Before anything is drawn: the chosen theme, so that no page flashes in the other one.
export type Theme = "system" | "light" | "dark";

export function storedTheme(): Theme {
  const kept = localStorage.getItem("selfheal.theme");
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function setTheme(theme: Theme): void {
  localStorage.setItem("selfheal.theme", theme);
  document.documentElement.dataset.theme = theme;
}

document.documentElement.dataset.theme = storedTheme();
