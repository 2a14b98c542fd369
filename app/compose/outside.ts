import { networkInterfaces } from 'node:os';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { EgressJournal } from '#workers/egress/egress-journal.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import { createOutsideClient, type OutsideClient } from '#workers/egress/outside-client.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { createSearchWeb, type SearchWeb } from '#workers/egress/search-engines.ts';
import { openHopSender } from '#workers/egress/send-hop.ts';
import type { OpenGateway } from '#workers/sandbox/sandbox.ts';
import type { Services } from './services.ts';

const megabyte = 1_000_000;

/** Everything through which agents reach the outside. */
export interface Outside extends AsyncDisposable {
  /** Bounds and record of what goes out for sessions. */
  readonly journal: EgressJournal;
  readonly openGateway: OpenGateway;
  readonly client: OutsideClient;
  readonly searchWeb: SearchWeb;
}

export function openOutside({ config, db, log, clock, credentials }: Services): Outside {
  const { open, closed } = config.egress;
  const reach: Reach = { guard: createAddressGuard({ open, closed: [...ownAddresses(), ...closed] }) };
  const { egressRequestsPerMinute, egressDayMegabytes, egressTurnMegabytes, egressResponseMegabytes } = config.limits;
  const stack = new AsyncDisposableStack();
  const journal = stack.use(
    new EgressJournal(
      { db, log, clock },
      {
        requestsPerMinute: egressRequestsPerMinute,
        bytesPerDay: egressDayMegabytes * megabyte,
        bytesPerTurn: egressTurnMegabytes * megabyte,
      },
    ),
  );
  const sender = stack.use(openHopSender(reach));
  return {
    journal,
    openGateway: createOpenGateway(
      { log, journal, credentials, sender, reach },
      { responseBytesMax: egressResponseMegabytes * megabyte },
    ),
    client: createOutsideClient({ sender, journal, credentials }),
    searchWeb: createSearchWeb({ credentials, reach, journal }, config.search),
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

/** Addresses of this machine that look public: services of ours may listen on them for us alone. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).flatMap(({ address, internal }) => (internal || address.includes('%') ? [] : [address])),
  );
}
