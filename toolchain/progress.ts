/** Receives one line per step that takes longer than a moment. */
export type Report = (line: string) => void;

/** How a part was come by, as `doctor` shows it. */
export type Way = "found" | "downloaded" | "built" | "installed" | "started";
