/** Names in one text. */
export const MAX_LISTED = 8;

/** Names with spaces between them, so that they can be pasted behind a flag; of many the first ones and how many more. */
export function listed(names: readonly string[]): string {
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : "";
  return names.slice(0, MAX_LISTED).join(" ") + more;
}
