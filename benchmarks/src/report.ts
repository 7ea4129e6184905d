/** One figure. Arrays of these are what `--json` prints. */
export interface Figure {
  readonly benchmark: string;
  readonly subject: string;
  readonly measure: string;
  readonly value: number;
  readonly unit: string;
}

/** The middle value; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which this share of the values lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]!;
}

/** Figures as a table: a row a measure, a column a subject, and the ratio of the first subject to each other. */
export function table(title: string, figures: readonly Figure[]): string {
  const subjects = [...new Set(figures.map(({ subject }) => subject))];
  const measures = [...new Set(figures.map(({ measure }) => measure))];
  const rows = measures.map((measure) => {
    const of = (subject: string): Figure | undefined =>
      figures.find((figure) => figure.measure === measure && figure.subject === subject);
    const own = of(subjects[0]!);
    const unit = figures.find((figure) => figure.measure === measure)!.unit;
    const cells = subjects.map((subject) => {
      const figure = of(subject);
      if (figure === undefined) return "–";
      const ratio = own === undefined || figure === own ? "" : ` (×${(own.value / figure.value).toFixed(2)})`;
      return `${round(figure.value)}${ratio}`;
    });
    return [`${measure} [${unit}]`, ...cells];
  });
  const lines = [["", ...subjects], ...rows];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  return `\n${title}\n${text.join("\n")}\n`;
}

function round(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
