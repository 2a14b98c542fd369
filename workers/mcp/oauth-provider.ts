import {
  checkResourceAllowed,
  type OAuthClientInformationContext,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  resourceUrlFromServerUrl,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client';
import { AppError } from '#core/kit/errors.ts';
import type { RemoteServer } from '#core/mcp/mcp-server.ts';

/** What one attempt to log in needs on its way back. */
export interface LoginDraft {
  readonly redirectUrl: string;
  readonly verifier: string;
  readonly discovery: OAuthDiscoveryState;
  readonly authorizationUrl: string;
}

/** Keeps what a flow saves; the client registrations outlive it. */
export interface FlowStore {
  loadClient(issuer: string, redirectUrl: string): Promise<StoredOAuthClientInformation | undefined>;
  saveClient(issuer: string, redirectUrl: string, client: StoredOAuthClientInformation): Promise<void>;
  /** The authorization server does not know us any more. */
  dropClient(issuer: string, redirectUrl: string): Promise<void>;
  saveTokens(issuer: string, tokens: StoredOAuthTokens): Promise<void>;
}

/** Metadata of us as a client, the same in a registration and in the document at our own address. */
export function clientMetadata(redirectUrl: string): OAuthClientMetadata {
  return {
    client_name: 'Switchyard',
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
}

/** One pass of the authorization code flow: away to the authorization server, or back from it. */
export class LoginFlow implements OAuthClientProvider {
  readonly redirectUrl: string;
  readonly clientMetadataUrl?: string;
  readonly #server: RemoteServer;
  readonly #store: FlowStore;
  readonly #state: string;
  #verifier: string | undefined;
  #discovery: OAuthDiscoveryState | undefined;
  #authorizationUrl: string | undefined;

  constructor(
    server: RemoteServer,
    store: FlowStore,
    options: {
      readonly redirectUrl: string;
      readonly clientMetadataUrl: string | undefined;
      readonly state: string;
      /** On the way back. */
      readonly draft?: LoginDraft;
    },
  ) {
    this.#server = server;
    this.#store = store;
    this.#state = options.state;
    this.redirectUrl = options.redirectUrl;
    if (options.clientMetadataUrl !== undefined) this.clientMetadataUrl = options.clientMetadataUrl;
    this.#verifier = options.draft?.verifier;
    this.#discovery = options.draft?.discovery;
  }

  get clientMetadata(): OAuthClientMetadata {
    const scope = this.#server.oauth.scopes?.join(' ');
    return { ...clientMetadata(this.redirectUrl), ...(scope === undefined ? {} : { scope }) };
  }

  /** What has to be kept until the person comes back; undefined when nobody was sent anywhere. */
  get draft(): LoginDraft | undefined {
    if (this.#authorizationUrl === undefined || this.#verifier === undefined || this.#discovery === undefined) {
      return undefined;
    }
    return {
      redirectUrl: this.redirectUrl,
      verifier: this.#verifier,
      discovery: this.#discovery,
      authorizationUrl: this.#authorizationUrl,
    };
  }

  state(): string {
    return this.#state;
  }

  async clientInformation(context?: OAuthClientInformationContext): Promise<StoredOAuthClientInformation | undefined> {
    return context === undefined ? undefined : await this.#store.loadClient(context.issuer, this.redirectUrl);
  }

  async saveClientInformation(
    client: StoredOAuthClientInformation,
    context?: OAuthClientInformationContext,
  ): Promise<void> {
    const issuer = context?.issuer ?? client.issuer;
    if (issuer !== undefined) await this.#store.saveClient(issuer, this.redirectUrl, client);
  }

  async invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): Promise<void> {
    const issuer = this.#discovery?.authorizationServerMetadata?.issuer ?? this.#discovery?.authorizationServerUrl;
    if ((scope === 'all' || scope === 'client') && issuer !== undefined) {
      await this.#store.dropClient(issuer, this.redirectUrl);
    }
  }

  /** Always a new login: renewing is done elsewhere, where only one process does it at a time. */
  tokens(): undefined {
    return undefined;
  }

  async saveTokens(tokens: StoredOAuthTokens, context?: OAuthClientInformationContext): Promise<void> {
    const issuer = context?.issuer ?? tokens.issuer;
    if (issuer === undefined)
      throw new AppError('mcp.login_failed', 'The authorization server has no name of its own.');
    await this.#store.saveTokens(issuer, tokens);
  }

  redirectToAuthorization(url: URL): void {
    this.#authorizationUrl = url.href;
  }

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    if (this.#verifier === undefined) throw new AppError('invariant.broken', 'A login came back without its verifier.');
    return this.#verifier;
  }

  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovery = state;
  }

  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovery;
  }

  /** The resource tokens are asked for: the server itself, also where its metadata does not say so. */
  async validateResourceURL(serverUrl: string | URL, resource?: string): Promise<URL> {
    const own = resourceUrlFromServerUrl(serverUrl);
    if (resource === undefined) return await Promise.resolve(own);
    if (!checkResourceAllowed({ requestedResource: own, configuredResource: resource })) {
      throw new AppError('mcp.login_failed', `The server "${this.#server.name}" names another resource than itself.`);
    }
    return new URL(resource);
  }
}
