import type { Redactor } from '#core/redaction/redactor.ts';
import { redactModel } from './redact-model.ts';
import { redactTools } from './redact-tools.ts';
import type { TurnDeps } from './turn-deps.ts';

/** Turns in which no secret is said to a model or heard from one, and none is heard from a tool. */
export function redactTurns(deps: TurnDeps, redactor: Redactor): TurnDeps {
  return {
    ...deps,
    askModel: redactModel(deps.askModel, redactor),
    toolsOf: redactTools(deps.toolsOf, redactor),
  };
}
