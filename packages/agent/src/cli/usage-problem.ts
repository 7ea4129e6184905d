/** Wrong usage, found before anything heavy is loaded; `reportError` turns it into USAGE_INVALID. */
export class UsageProblem extends Error {
  override readonly name = "UsageProblem";
  readonly suggestion: string;

  constructor(message: string, suggestion = "See `rkl --help`, or `--help` after a command.") {
    super(message);
    this.suggestion = suggestion;
  }
}
