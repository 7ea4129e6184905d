import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";

const renewalAnswer = z.object({
  /** SHA-256 of the SubjectPublicKeyInfo that it was given to; hexadecimal digits. */
  spkiSha256: z.string(),
  serialNumber: z.string(),
  /** The body of the `Certificate` message, byte for byte, base64. */
  answer: z.string(),
});

/** What a node's last renewal was answered, so that the same key can be answered the same again. */
export type RenewalAnswer = z.infer<typeof renewalAnswer>;

/** The last answer of each node, by name; it goes when the node is forgotten or joins anew. */
export function renewalAnswers(storage: Storage): RecordCollection<RenewalAnswer> {
  return new RecordCollection(storage, "cluster/renewal-answers/", renewalAnswer);
}
