// What comes in does not move what one reads: the part of the page in focus, or under the
// pointer, or else at the top, stays where it is while others grow.
import { type RefObject, useEffect } from "react";

/** Below what sticks to the top of the page. */
const TOP_PIXELS = 140;

type Place = { part: Element; top: number; scrolled: number; high: number };

export function useReadingPlace(page: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const whole = page.current;
    if (whole === null) return;
    let pointer: { x: number; y: number } | null = null;
    let place: Place | null = null;

    const inSight = (part: Element) => {
      const { top, bottom } = part.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    };
    // The controls stick to the page; what stands beside them is read.
    const reads = (part: Element | null): part is Element =>
      part !== null &&
      part !== whole &&
      whole.contains(part) &&
      part.closest(".control") === null &&
      inSight(part);
    // What scrolls within the page moves for reasons of its own.
    const outermost = (part: Element | null): Element | null => {
      let found = part;
      for (let next = part; next !== null && next !== whole; next = next.parentElement) {
        if (
          next.scrollHeight > next.clientHeight &&
          getComputedStyle(next).overflowY !== "visible"
        ) {
          found = next;
        }
      }
      return found;
    };
    const at = (x: number, y: number) => outermost(document.elementFromPoint(x, y));
    const take = () => {
      const { left, width } = whole.getBoundingClientRect();
      const parts = [
        outermost(document.activeElement),
        pointer && at(pointer.x, pointer.y),
        at(left + width * 0.6, TOP_PIXELS),
      ];
      const part = parts.find(reads);
      const top = part?.getBoundingClientRect().top ?? 0;
      place = part ? { part, top, scrolled: scrollY, high: whole.scrollHeight } : null;
    };
    // What moved by more than was scrolled was moved by what came in, even where this is
    // called before the browser has laid that out.
    const keep = () => {
      if (place?.part.isConnected && scrollY > 0) {
        // A page that shrinks at its end is scrolled by the browser, not by the reader.
        const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
        const pushed = atEnd && whole.scrollHeight < place.high && scrollY < place.scrolled;
        const meant = pushed ? place.top : place.top - (scrollY - place.scrolled);
        const moved = place.part.getBoundingClientRect().top - meant;
        if (Math.abs(moved) >= 1) scrollBy({ top: moved, behavior: "instant" });
      }
      take();
    };
    const point = (event: PointerEvent) => {
      pointer = event.pointerType === "mouse" ? { x: event.clientX, y: event.clientY } : null;
      keep();
    };

    const observer = new ResizeObserver(keep);
    observer.observe(whole);
    whole.addEventListener("pointermove", point, { passive: true });
    whole.addEventListener("focusin", keep);
    document.addEventListener("scroll", keep, { passive: true });
    return () => {
      observer.disconnect();
      whole.removeEventListener("pointermove", point);
      whole.removeEventListener("focusin", keep);
      document.removeEventListener("scroll", keep);
    };
  }, [page]);
}
