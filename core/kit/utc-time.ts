/** A time as cards show it: `14:05 UTC`, with its date when that is not the day of `from`. */
export function utcTime(at: Date, from: Date = at): string {
  const text = at.toISOString();
  const isSameDay = text.slice(0, 10) === from.toISOString().slice(0, 10);
  return `${isSameDay ? text.slice(11, 16) : text.slice(0, 16).replace('T', ' ')} UTC`;
}
