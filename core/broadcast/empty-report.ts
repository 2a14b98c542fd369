/** What agents say when they have nothing to say, in lower case and without punctuation. */
const emptyReports = new Set([
  '',
  'ok',
  'okay',
  'heartbeat ok',
  'nothing to do',
  'nothing to report',
  'no update',
  'no updates',
  'nothing new',
  'no changes',
]);

/**
 * Whether a text is a sign of life and nothing else. Such a notice or digest is not sent; an answer to a person always
 * is, however short.
 */
export function isEmptyReport(markdown: string): boolean {
  const plain = markdown
    .toLowerCase()
    .replaceAll('_', ' ')
    .replaceAll(/[^\p{L}\p{N}\s]/gu, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return emptyReports.has(plain);
}
