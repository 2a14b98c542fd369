import type { Log } from '#core/kit/log.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import type { EgressJournal } from './egress-journal.ts';
import type { GatewayLimits } from './gateway-limits.ts';
import type { Reach } from './reach.ts';
import type { HopSender } from './send-hop.ts';

/** What the gateways of one worker share. */
export interface GatewayDeps {
  readonly log: Log;
  readonly journal: Pick<EgressJournal, 'admit' | 'spend' | 'record'>;
  readonly credentials: CredentialSource;
  /** Makes the requests; guarded with the same `reach` as the tunnels. */
  readonly sender: Pick<HopSender, 'send'>;
  readonly reach: Reach;
  readonly limits: GatewayLimits;
}
