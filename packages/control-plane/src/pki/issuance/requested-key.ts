import { RksError } from "@rk8s/protocol";
import { type LeafKeySpec, leafKeySpec } from "../key-spec.js";
import type { PkiRole } from "../role/role-fields.js";
import type { KeyForm } from "./leaf-key.js";

/**
 * The key that `issue` makes: the role's, or for roles of type `any` the request's.
 * @throws {RksError} INPUT_INVALID when nobody says which or the size does not fit.
 */
export function decideLeafKey(
  role: Pick<PkiRole, "key_type" | "key_bits">,
  request: { readonly key_type?: string | undefined; readonly key_bits?: number | undefined },
): { readonly spec: LeafKeySpec; readonly warnings: readonly string[] } {
  const { key_type: type = "", key_bits: bits = 0 } = request;
  if (role.key_type === "any") {
    if (type !== "") return { spec: leafKeySpec(type, bits), warnings: [] };
    throw new RksError(
      "INPUT_INVALID",
      'role key type "any" not allowed for issuing certificates without providing key_type and/or key_bits request parameters',
      { suggestion: "Give key_type=ec, ed25519 or rsa." },
    );
  }
  const spec = leafKeySpec(role.key_type, role.key_bits);
  const asked = type !== "" || bits !== 0;
  return {
    spec,
    warnings: asked ? ["parameters key_type and key_bits ignored as role had specific values"] : [],
  };
}

/** What `private_key_format` means; with `der` and `pem` it is the older form of the key's type. */
export function keyForm(format: "" | "der" | "pem" | "pkcs8"): KeyForm {
  return format === "pkcs8" ? "pkcs8" : "traditional";
}
