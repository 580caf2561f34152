/** Name of a migration that follows another one: with the next number, and a title of its own. */
export function nextMigration(last: string, title: string): string {
  return `${String(Number(last.slice(0, 4)) + 1).padStart(4, "0")}_${title}`;
}
