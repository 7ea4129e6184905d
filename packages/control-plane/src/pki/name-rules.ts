import { domainToASCII } from "node:url";
import { RksError } from "@rk8s/protocol";
import { fillTemplate, isTemplate, type TemplateSource } from "./role/identity-template.js";
import type { PkiRole } from "./role/role-fields.js";

/** What a name is checked by; part of a role, its templates filled in for one caller. */
export interface NameRules extends RoleNameRules {
  /** Of the caller's token; empty: names cannot be allowed by it. */
  readonly tokenDisplayName?: string;
  /** Templates of `allowed_domains` that the caller has no value for. */
  readonly unfilled?: readonly string[];
}

type RoleNameRules = Pick<
  PkiRole,
  | "allowed_domains"
  | "allow_bare_domains"
  | "allow_subdomains"
  | "allow_glob_domains"
  | "allow_wildcard_certificates"
  | "allow_any_name"
  | "allow_localhost"
  | "allow_short_names"
  | "enforce_hostnames"
  | "cn_validations"
>;

/** The rules of a role for one caller. */
export function nameRules(role: PkiRole, caller: TemplateSource): NameRules {
  const tokenDisplayName = role.allow_token_displayname ? caller.displayName : "";
  if (!role.allowed_domains_template) return tokenDisplayName === "" ? role : { ...role, tokenDisplayName };
  const { filled, unfilled } = fillTemplates(role.allowed_domains, role, caller);
  return { ...role, tokenDisplayName, allowed_domains: filled, unfilled };
}

/** Patterns of a role with their templates filled in, and those that cannot be. */
export function fillTemplates(
  patterns: readonly string[],
  role: Pick<PkiRole, "allow_globs_in_identity_templates">,
  caller: TemplateSource,
): { readonly filled: readonly string[]; readonly unfilled: readonly string[] } {
  const allowGlobs = role.allow_globs_in_identity_templates;
  const results = patterns.map((text) =>
    isTemplate(text) ? fillTemplate(text, caller, { allowGlobs }) : text,
  );
  return {
    filled: results.filter((text) => text !== undefined),
    unfilled: patterns.filter((_, index) => results[index] === undefined),
  };
}

/** Why a name is refused and what would allow it. */
export interface NameRefusal {
  readonly rule: string;
  readonly remedy: string;
}

const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const HOSTNAME = new RegExp(String.raw`^(?:${LABEL}\.)*${LABEL}\.?$`);
const WILDCARD_HOSTNAME = new RegExp(String.raw`^(?:\*\.)?(?:${LABEL}\.)*${LABEL}\.?$`);
/** `*`, `*x`, `x*`, `x*y` (RFC 6125 §6.4.3). */
const WILDCARD_LABEL =
  /^(?:\*|\*[A-Za-z0-9-]*[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*\*|[A-Za-z0-9][A-Za-z0-9-]*\*[A-Za-z0-9-]*[A-Za-z0-9])$/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;
const LOCAL_NAMES = ["localhost", "localdomain"];
const MAX_NAME_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;

/**
 * Check a common name by Vault's rules: first by `cn_validations` (`disabled` alone switches all checks off), then as every name.
 * @throws {RksError} ROLE_REFUSED naming rule and remedy.
 */
export function assertCommonName(name: string, rules: NameRules, roleName: string): void {
  const { cn_validations: validations } = rules;
  if (validations.length === 1 && validations[0] === "disabled") return;
  const kind = name.includes("@") ? "email" : "hostname";
  const refusal = validations.includes(kind)
    ? refusalOfName(name, rules)
    : { rule: `cn_validations has no "${kind}"`, remedy: `Add "${kind}" to the role's cn_validations.` };
  if (refusal !== undefined) throw nameRefused("common name", name, roleName, refusal);
}

/**
 * Check all DNS names and email addresses of a certificate. With `allow_short_names` a single label passes when it begins one
 * of `allNames` that the role allows by itself.
 * @throws {RksError} ROLE_REFUSED naming rule and remedy.
 */
export function assertAlternativeNames(
  names: readonly string[],
  rules: NameRules,
  context: { readonly roleName: string; readonly allNames: readonly string[] },
): void {
  for (const name of names) {
    const refusal = refusalOfName(name, rules);
    if (refusal === undefined || isShortName(name, rules, context.allNames)) continue;
    throw nameRefused("subject alternative name", name, context.roleName, refusal);
  }
}

/** Why the role refuses a name; undefined when it allows it. The order of the rules is Vault's. */
export function refusalOfName(name: string, rules: NameRules): NameRefusal | undefined {
  const parts = name.split("@");
  if (parts.length > 2)
    return { rule: "it has more than one @", remedy: "Write an email address with one @." };
  const isEmail = parts.length === 2;
  const host = parts.at(-1) ?? "";
  const isWildcard = host.includes("*");
  let reduced = host;
  if (isWildcard) {
    const refusal = refusalOfWildcard(host, isEmail, rules);
    if (refusal !== undefined) return refusal;
    reduced = host.includes(".") ? host.slice(host.indexOf(".") + 1) : "";
  }
  if (rules.enforce_hostnames) {
    const badLabel = isWildcard && !WILDCARD_LABEL.test(host.split(".")[0] ?? "");
    const badHost = reduced === "" ? !isWildcard : toHostname(reduced) === undefined;
    if (badLabel || badHost) {
      return {
        rule: "it is not a host name and enforce_hostnames is on",
        remedy: "Set enforce_hostnames=false on the role.",
      };
    }
  }
  if (rules.allow_any_name) return undefined;
  if (rules.allow_localhost && isLocal(reduced, rules)) return undefined;
  const names = { name, host, reduced, isEmail, isWildcard };
  if (displayNameAllows(rules.tokenDisplayName ?? "", names, rules)) return undefined;
  if (rules.allowed_domains.some((domain) => domainAllows(domain, names, rules))) return undefined;
  return refusalByDomains(names, rules);
}

/** A DNS name as it goes into a certificate: internationalised labels in their ASCII form; undefined when it is no host name. */
export function toDnsName(name: string): string | undefined {
  if (name.startsWith("*.")) {
    const rest = toHostname(name.slice(2));
    return rest === undefined ? undefined : `*.${rest}`;
  }
  const ascii = toHostname(name);
  return ascii !== undefined && WILDCARD_HOSTNAME.test(ascii) ? ascii : undefined;
}

/** Whether `text` matches a pattern in which `*` stands for any characters, dots included. Linear in both. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  const tail = rest.pop();
  if (tail === undefined) return pattern === text;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  let at = head.length;
  for (const middle of rest) {
    const found = text.indexOf(middle, at);
    if (found === -1) return false;
    at = found + middle.length;
  }
  return at <= text.length - tail.length;
}

interface SplitName {
  readonly name: string;
  readonly host: string;
  readonly reduced: string;
  readonly isEmail: boolean;
  readonly isWildcard: boolean;
}

function refusalOfWildcard(host: string, isEmail: boolean, rules: NameRules): NameRefusal | undefined {
  if (!rules.allow_wildcard_certificates) {
    return {
      rule: "allow_wildcard_certificates is off",
      remedy: "Set allow_wildcard_certificates=true on the role.",
    };
  }
  if (host.indexOf("*") !== host.lastIndexOf("*") || !(host.split(".")[0] ?? "").includes("*")) {
    return {
      rule: "a wildcard stands only once and in the first label",
      remedy: "Write the name as *.example.com.",
    };
  }
  if (isEmail) return { rule: "an email address has no wildcard", remedy: "Write the address without *." };
  return undefined;
}

function isLocal(reduced: string, rules: NameRules): boolean {
  return LOCAL_NAMES.some((local) => {
    return reduced === local || (rules.allow_subdomains && reduced.endsWith(`.${local}`));
  });
}

function domainAllows(domain: string, split: SplitName, rules: NameRules): boolean {
  const { name, host, reduced, isEmail, isWildcard } = split;
  if (rules.allow_bare_domains && (sameText(name, domain) || (isEmail && sameText(host, domain))))
    return true;
  if (rules.allow_subdomains && (reduced.endsWith(`.${domain}`) || (isWildcard && sameText(reduced, domain))))
    return true;
  return rules.allow_glob_domains && domain.includes("*") && matchesGlob(domain, name);
}

/** The name of the caller's token, and names below it; below its host for a display name that is an email address. */
function displayNameAllows(displayName: string, split: SplitName, rules: NameRules): boolean {
  if (displayName === "") return false;
  const { name, reduced, isEmail, isWildcard } = split;
  if (name === displayName) return true;
  if (!rules.allow_subdomains) return false;
  const [, host, ...more] = displayName.split("@");
  if (isEmail && host !== undefined && host !== "" && more.length === 0 && reduced.endsWith(`.${host}`))
    return true;
  return reduced.endsWith(`.${displayName}`) || (isWildcard && reduced === displayName);
}

/** The one flag that would have allowed it, or the domains. */
function refusalByDomains(split: SplitName, rules: NameRules): NameRefusal {
  const flags = ["allow_bare_domains", "allow_subdomains", "allow_glob_domains"] as const;
  for (const flag of flags) {
    const allowing = rules.allowed_domains.find((domain) =>
      domainAllows(domain, split, { ...rules, [flag]: true }),
    );
    if (allowing !== undefined) {
      return {
        rule: `${flag} is off`,
        remedy: `Set ${flag}=true on the role: "${allowing}" is among its allowed_domains.`,
      };
    }
  }
  if (!rules.allow_localhost && isLocal(split.reduced, { ...rules, allow_localhost: true })) {
    return { rule: "allow_localhost is off", remedy: "Set allow_localhost=true on the role." };
  }
  const [template] = rules.unfilled ?? [];
  if (template !== undefined) {
    return {
      rule: `allowed_domains has ${JSON.stringify(template.slice(0, 200))}, which the caller's identity does not fill in`,
      remedy:
        "Give the caller's entity or token the value that the template names; one with * needs allow_globs_in_identity_templates=true.",
    };
  }
  const single = !split.name.includes(".") && !rules.allow_short_names;
  return {
    rule: `allowed_domains (${rules.allowed_domains.join(", ").slice(0, 200) || "none"}) has no domain for it`,
    remedy: single
      ? "Set allow_short_names=true on the role to allow the first label of an allowed name, or add the name to allowed_domains with allow_bare_domains=true."
      : "Add its domain to the role's allowed_domains.",
  };
}

function isShortName(name: string, rules: NameRules, allNames: readonly string[]): boolean {
  if (!rules.allow_short_names || name.length > MAX_LABEL_LENGTH || !new RegExp(`^${LABEL}$`).test(name))
    return false;
  return allNames.some((full) => full.startsWith(`${name}.`) && refusalOfName(full, rules) === undefined);
}

function toHostname(name: string): string | undefined {
  // The conversion of internationalised names drops them without a word.
  if (CONTROL_CHARACTER.test(name)) return undefined;
  const ascii = /^[ -~]*$/.test(name) ? name : domainToASCII(name);
  const bare = ascii.replace(/\.$/, "");
  const fits =
    bare !== "" &&
    bare.length <= MAX_NAME_LENGTH &&
    bare.split(".").every((label) => label.length <= MAX_LABEL_LENGTH);
  return fits && HOSTNAME.test(ascii) ? ascii : undefined;
}

function sameText(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function nameRefused(what: string, name: string, roleName: string, refusal: NameRefusal): RksError {
  return new RksError(
    "ROLE_REFUSED",
    `${what} ${JSON.stringify(name.slice(0, 260))} is not allowed by role "${roleName}": ${refusal.rule}`,
    { suggestion: refusal.remedy },
  );
}
