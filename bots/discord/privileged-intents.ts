/** Application flags that say Message Content is allowed: for verified bots, and for those in few servers. */
const contentFlags = (1 << 18) | (1 << 19);

/** Privileged intents we need and an application with these flags does not have, by the names the portal uses. */
export function missingPrivileged(applicationFlags: number): string[] {
  return (applicationFlags & contentFlags) === 0 ? ['Message Content'] : [];
}
