import { z } from "zod";
import { LIMITS } from "@rk8s/protocol";
import { RecordCollection, type Storage } from "@rk8s/storage";

const repeatAnswer = z.object({
  /** As asked for in CertificateSign; empty when no name was. */
  requestedName: z.string(),
  /** The name that was given; empty for an operator. */
  nodeName: z.string(),
  serialNumber: z.string(),
  /** The body of the `Certificate` message, byte for byte, base64. */
  answer: z.string(),
  answeredAt: z.iso.datetime(),
  notAfter: z.iso.datetime(),
});

/** What a key was answered, so that it can be answered the same again when the reply was lost. */
export type RepeatAnswer = z.infer<typeof repeatAnswer>;

/** Answers by token id and SHA-256 of the key: `<token id>/<hexadecimal digits>`. */
export function repeatAnswers(storage: Storage): RecordCollection<RepeatAnswer> {
  return new RecordCollection(storage, "cluster/join-answers/", repeatAnswer);
}

/** Whether the answer is still given again: for 10 minutes, and not when its certificate is over. */
export function isRepeatable(answer: RepeatAnswer, now: number): boolean {
  const answeredAt = Date.parse(answer.answeredAt);
  return Math.abs(now - answeredAt) < LIMITS.repeatAnswerMs && now < Date.parse(answer.notAfter);
}
