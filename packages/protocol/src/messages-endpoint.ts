/**
 * Path of the HTTP endpoint on the control plane's unix socket that takes the frames of one stream as its body and
 * answers with the frames of the answer; see SPEC.md.
 */
export const MESSAGES_PATH = "/v1/rk8s/messages";

/** Media type of bodies that are made of frames. */
export const FRAMES_MEDIA_TYPE = "application/vnd.rk8s.frames";
