/** What a TLS client says of itself in its first message. */
export type Hello =
  /** `serverName` is undefined when it names no server. */
  | { readonly state: 'read'; readonly serverName: string | undefined }
  | { readonly state: 'partial' }
  | { readonly state: 'invalid' };

/** Longest first message that is read; browsers send about 2 KB. */
const helloBytesMax = 16_384;
const invalid: Hello = { state: 'invalid' };

/**
 * Reads the server name out of the beginning of a TLS connection (RFC 8446, 4.1.2; RFC 6066, 3). Anything that is no
 * plain ClientHello is invalid, a message cut over several records is put together.
 */
export function readClientHello(bytes: Buffer): Hello {
  const handshake: Buffer[] = [];
  let length = 0;
  let wanted = Number.POSITIVE_INFINITY;
  for (let at = 0; length < wanted; ) {
    if (bytes.length > at && bytes[at] !== 22) return invalid;
    if (bytes.length < at + 5) return { state: 'partial' };
    const size = bytes.readUInt16BE(at + 3);
    if (bytes[at + 1] !== 3 || size === 0 || size > helloBytesMax || length + size > helloBytesMax) return invalid;
    const record = bytes.subarray(at + 5, at + 5 + size);
    handshake.push(record);
    length += record.length;
    const whole = Buffer.concat(handshake);
    if (whole.length >= 4) {
      if (whole[0] !== 1) return invalid;
      wanted = 4 + whole.readUIntBE(1, 3);
      if (wanted > helloBytesMax) return invalid;
    }
    if (record.length < size && length < wanted) return { state: 'partial' };
    at += 5 + size;
  }
  try {
    return { state: 'read', serverName: serverNameOf(Buffer.concat(handshake).subarray(4, wanted)) };
  } catch {
    return invalid;
  }
}

/** @throws RangeError when lengths do not fit. */
function serverNameOf(hello: Buffer): string | undefined {
  const reader = new Reader(hello);
  reader.skip(34);
  reader.skip(reader.uint(1));
  reader.skip(reader.uint(2));
  reader.skip(reader.uint(1));
  if (reader.isAtEnd) return undefined;
  const extensions = new Reader(reader.take(reader.uint(2)));
  let name: string | undefined;
  while (!extensions.isAtEnd) {
    const type = extensions.uint(2);
    const body = extensions.take(extensions.uint(2));
    if (type !== 0) continue;
    // Two of them would let two readers see two names.
    if (name !== undefined) throw new RangeError('two server names');
    const list = new Reader(body);
    const names = new Reader(list.take(list.uint(2)));
    if (names.uint(1) !== 0) throw new RangeError('an unknown kind of name');
    name = names.take(names.uint(2)).toString('latin1').toLowerCase();
    if (!names.isAtEnd || !list.isAtEnd) throw new RangeError('more than one name');
  }
  return name;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  uint(size: 1 | 2): number {
    const value = this.#bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return value;
  }

  take(size: number): Buffer {
    if (this.#at + size > this.#bytes.length) throw new RangeError('cut off');
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  skip(size: number): void {
    this.take(size);
  }
}
