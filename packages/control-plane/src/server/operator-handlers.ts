import { ListPage, type Node } from "@rk8s/protocol";
import { audited } from "../audit/audited.js";
import { nodeObject } from "../nodes/node-view.js";
import type { Handler } from "./exchange.js";

/** Keep a pod and place it. */
export const answerApplyPod: Handler<"ApplyPod"> = async ({ pods, audit }, { message, conversation }) => {
  const { namespace, name } = message.manifest.metadata;
  const event = { operation: "pod.apply", actor: conversation.actor, fields: { namespace, name } };
  const pod = await audited(audit, event, async () => {
    const value = await pods.apply(message.manifest);
    return { value, fields: { uid: value.metadata.uid, nodeName: value.spec.nodeName ?? null } };
  });
  return { type: "Pod", pod };
};

/** Record that a pod is to go. */
export const answerDeletePod: Handler<"DeletePod"> = async ({ pods, audit }, { message, conversation }) => {
  const { namespace, name, uid } = message;
  const event = { operation: "pod.delete", actor: conversation.actor, fields: { namespace, name, uid } };
  await audited(audit, event, async () => ({ value: await pods.delete(message, message) }));
  return { type: "Ack" };
};

/** One pod. */
export const answerGetPod: Handler<"GetPod"> = async ({ pods }, { message }) => ({
  type: "Pod",
  pod: await pods.get(message),
});

/** A page of pods. */
export const answerListPods: Handler<"ListPods"> = async ({ pods }, { message }) => {
  const { pods: page, next } = await pods.list(message.namespace, message.after);
  return { type: "PodList", pods: page, ...(next === undefined ? {} : { next }) };
};

/** One node. */
export const answerGetNode: Handler<"GetNode"> = async ({ nodes }, { message }) => ({
  type: "Node",
  node: nodeObject(await nodes.know(message.name)),
});

/** A page of nodes. */
export const answerListNodes: Handler<"ListNodes"> = async ({ nodes }, { message }) => {
  const page = new ListPage<Node>();
  for await (const known of nodes.known(message.after)) {
    const node = nodeObject(known);
    if (!page.add(node)) {
      return { type: "NodeList", nodes: page.items, next: page.items.at(-1)!.metadata.name };
    }
  }
  return { type: "NodeList", nodes: page.items };
};

/** A pod's logs, relayed from its node. */
export const answerGetPodLogs: Handler<"GetPodLogs"> = async (
  { pods, logs },
  { message, stream, signal },
) => {
  await logs.relay(async () => pods.linkOf(message), message, stream, { signal });
  return undefined;
};
