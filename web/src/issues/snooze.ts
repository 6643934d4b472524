// When a snooze ends, in the reader's own time.

export const SNOOZES = ["news", "hours", "tomorrow", "monday", "week", "time"] as const;
export type Snooze = (typeof SNOOZES)[number];

const MORNING = 8;

/** The end; none where whatever happens next ends it. `time` is the one that was picked. */
export function snoozedUntil(snooze: Snooze, time: string, now: Date): Date | null {
  const until = new Date(now);
  switch (snooze) {
    case "news":
      return null;
    case "hours":
      until.setHours(until.getHours() + 4);
      return until;
    case "tomorrow":
      until.setDate(until.getDate() + 1);
      break;
    case "monday":
      until.setDate(until.getDate() + ((8 - until.getDay()) % 7 || 7));
      break;
    case "week":
      until.setDate(until.getDate() + 7);
      break;
    case "time":
      return new Date(time);
  }
  until.setHours(MORNING, 0, 0, 0);
  return until;
}
