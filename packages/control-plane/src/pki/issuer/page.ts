/** The part of a list that a request with `after` and `limit` asks for; 0 stands for no limit. */
export function pageOf(
  ids: readonly string[],
  range: { readonly after: string; readonly limit: number },
): readonly string[] {
  const { after, limit } = range;
  const rest = ids.toSorted().filter((id) => after === "" || id > after);
  return limit === 0 ? rest : rest.slice(0, limit);
}
