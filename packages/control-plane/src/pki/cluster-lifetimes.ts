/** In seconds; a module of its own, because a config is read without anything of the CA. */
const DAY_SECONDS = 86_400;

/** The longest life of a node's certificate: one that a node lost must not be good for a year. */
export const MAX_NODE_TTL_SECONDS = 30 * DAY_SECONDS;
/** The longest life of a certificate of rks, or of a member of its store. */
export const MAX_SERVER_TTL_SECONDS = 90 * DAY_SECONDS;
