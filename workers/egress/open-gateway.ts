import type { OpenGateway } from '../sandbox/sandbox.ts';
import type { GatewayDeps } from './gateway-deps.ts';
import { defaultGatewayLimits, type GatewayLimits } from './gateway-limits.ts';
import { GatewayServer } from './sandbox-gateway.ts';

/** Opens the gateways of a worker's sandboxes, one for each. */
export function createOpenGateway(deps: Omit<GatewayDeps, 'limits'>, limits: Partial<GatewayLimits> = {}): OpenGateway {
  const shared: GatewayDeps = { ...deps, limits: { ...defaultGatewayLimits, ...limits } };
  return async (spec, socketPath) => await GatewayServer.open(shared, spec, socketPath);
}
