/** What the framed page tells the page around it: how high it is, and nothing else. */
export type Height = { selfhealHeight: number };
