import {
  type CallToolResult,
  Client,
  type InputRequiredResult,
  type InputResponses,
  isInputRequiredResult,
  type PriorDiscovery,
  type ProgressCallback,
  type Tool,
  type Transport,
} from '@modelcontextprotocol/client';
import { AppError } from '#core/kit/errors.ts';
import { jsonSchema } from '#core/kit/json.ts';
import { toolsMax } from '#core/mcp/tool-pin.ts';

/** Longest wait for a server to say which protocol it speaks; old ones may stay silent. */
const probeMs = 5_000;
/** Longest time for everything that comes before the first call. */
const connectMs = 20_000;
const listMs = 20_000;
const listPagesMax = 10;
/** A list is read again after this time, whatever the server says of its life: a change must be noticed. */
const listLifeMs = 60_000;

/** What a call may send along when it goes on after a question. */
export interface CallInput {
  readonly requestState: string | undefined;
  readonly responses: Readonly<Record<string, unknown>>;
}

/** One client of one server. Closed for good when its transport ends. */
export class McpConnection implements AsyncDisposable {
  readonly #client: Client;
  readonly #transport: Transport & { hold?(): Disposable };
  readonly #onClosed: () => void;
  #isOpen = false;
  #freshUntil = 0;
  #refusedInput: string | undefined;
  usedAt = Date.now();

  constructor(transport: Transport, options: { readonly version: string; readonly onClosed: () => void }) {
    this.#transport = transport;
    this.#onClosed = options.onClosed;
    this.#client = new Client(
      { name: 'switchyard', version: options.version },
      {
        capabilities: { elicitation: { form: {} } },
        versionNegotiation: { mode: 'auto', probe: { timeoutMs: probeMs } },
        inputRequired: { autoFulfill: false },
        listMaxPages: listPagesMax,
        ...('pid' in transport
          ? {
              listChanged: {
                tools: {
                  autoRefresh: false,
                  debounceMs: 0,
                  onChanged: () => {
                    this.#freshUntil = 0;
                  },
                },
              },
            }
          : {}),
      },
    );
    // Of the older protocol, which would hold this worker until a person answers.
    this.#client.setRequestHandler('elicitation/create', (request) => {
      this.#refusedInput = request.params.message.slice(0, 500);
      return { action: 'cancel' };
    });
    this.#client.onclose = () => {
      this.#isOpen = false;
      this.#onClosed();
    };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether the tool list has to be read before the next call. */
  get isStale(): boolean {
    return Date.now() >= this.#freshUntil;
  }

  /**
   * Connects, with what an earlier connection found out about the server's protocol.
   * @returns what this one found out.
   */
  async open(prior: PriorDiscovery | undefined, signal: AbortSignal): Promise<PriorDiscovery> {
    await this.#client.connect(this.#transport, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(connectMs)]),
      timeout: connectMs,
      ...(prior === undefined ? {} : { prior }),
    });
    this.#isOpen = true;
    const discover = this.#client.getDiscoverResult();
    return discover === undefined ? { kind: 'legacy' } : { kind: 'modern', discover };
  }

  /** The server's whole list as it is now. @throws AppError `mcp.protocol` for one without an end. */
  async list(signal: AbortSignal): Promise<readonly unknown[]> {
    using _awake = this.#transport.hold?.();
    // Set first: a change that is announced while the list is read makes it stale again.
    this.#freshUntil = Date.now() + listLifeMs;
    try {
      const { tools } = await this.#client.listTools(undefined, {
        cacheMode: 'refresh',
        timeout: listMs,
        signal: AbortSignal.any([signal, AbortSignal.timeout(listMs)]),
      });
      if (tools.length > toolsMax) {
        throw new AppError('mcp.protocol', `The server lists ${tools.length} tools; ${toolsMax} are the most.`);
      }
      return tools;
    } catch (err) {
      this.#freshUntil = 0;
      throw err;
    }
  }

  /** Calls a tool by the definition that was approved. */
  async call(
    tool: { readonly definition: unknown; readonly name: string },
    args: Readonly<Record<string, unknown>>,
    options: {
      readonly input: CallInput | undefined;
      readonly timeoutMs: number;
      readonly signal: AbortSignal;
      readonly onProgress: ProgressCallback;
    },
  ): Promise<CallToolResult | InputRequiredResult> {
    using _awake = this.#transport.hold?.();
    this.usedAt = Date.now();
    this.#refusedInput = undefined;
    const { input } = options;
    const result: CallToolResult | InputRequiredResult = await this.#client.callTool(
      {
        name: tool.name,
        arguments: { ...args },
        ...(input === undefined
          ? {}
          : {
              inputResponses: input.responses as InputResponses,
              ...(input.requestState === undefined ? {} : { requestState: input.requestState }),
            }),
      },
      {
        allowInputRequired: true,
        toolDefinition: withoutOutputSchema(tool.definition),
        timeout: options.timeoutMs,
        resetTimeoutOnProgress: false,
        maxTotalTimeout: options.timeoutMs,
        signal: options.signal,
        onprogress: options.onProgress,
      },
    );
    this.usedAt = Date.now();
    if (isInputRequiredResult(result) || this.#refusedInput === undefined) return result;
    const note = `(While it worked, the server asked a person something that this connection cannot pass on, and got no answer: "${this.#refusedInput}")`;
    return { ...result, content: [...result.content, { type: 'text', text: note }] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOpen = false;
    await this.#client.close().catch(() => undefined);
    await this.#transport.close().catch(() => undefined);
  }
}

/** Its result is checked by us, after a question of the server has been told from an answer. */
function withoutOutputSchema(definition: unknown): Tool {
  const { outputSchema: _, ...rest } = jsonSchema.parse(definition) as unknown as Tool;
  return rest;
}
