/** What may bring the node back after a reboot: whatever works here, one way only, or no key of the machine. */
export const RECOVERY_CHOICES = ["auto", "tpm", "ssh-host-key", "none"] as const;
export type RecoveryChoice = (typeof RECOVERY_CHOICES)[number];
