/** A moment as every list shows it: `2026-11-21 10:05 UTC`. */
export function formatTime(at: Date): string {
  return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** A calendar day: `2026-11-21 (UTC)`. */
export function formatDay(at: Date): string {
  return `${at.toISOString().slice(0, 10)} (UTC)`;
}
