/** A refusal of the REST API, with the fields of its JSON answer. */
export class RestError extends Error {
  readonly status: number;
  readonly code: number;
  readonly errors: object | undefined;

  constructor(status: number, code: number, message: string, errors?: object) {
    super(message);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

/** `50035` with the fault at a path such as `content` or `components.0.components.1.label`. */
export function invalidBody(path: string, fault: string, message: string): RestError {
  let errors: object = { _errors: [{ code: fault, message }] };
  for (const key of path.split('.').reverse()) errors = { [key]: errors };
  return new RestError(400, 50_035, 'Invalid Form Body', errors);
}

export const unknownChannel = (): RestError => new RestError(404, 10_003, 'Unknown Channel');
export const unknownMessage = (): RestError => new RestError(404, 10_008, 'Unknown Message');
export const unknownWebhook = (): RestError => new RestError(404, 10_015, 'Unknown Webhook');
export const unknownInteraction = (): RestError => new RestError(404, 10_062, 'Unknown interaction');
export const invalidWebhookToken = (): RestError => new RestError(401, 50_027, 'Invalid Webhook Token');
export const missingAccess = (): RestError => new RestError(403, 50_001, 'Missing Access');
export const missingPermissions = (): RestError => new RestError(403, 50_013, 'Missing Permissions');
