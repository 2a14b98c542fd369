/** Largest file shown to a model: vendors take 5 MB as base64, which is a third longer. */
const pictureBytesMax = 3_700_000;
/** Longest edge vendors take. */
export const pictureEdgeMax = 8_000;
/** Longest edge that says more to a model: vendors scale larger pictures down to about this before looking. */
export const pictureEdgeWanted = 1_568;

type PictureMime = 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';

export interface PictureFacts {
  readonly mime: PictureMime;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
}

/** Whether vendors take a picture at all. */
export function isTakenByModels(bytes: Uint8Array, { width, height }: PictureFacts): boolean {
  return bytes.byteLength <= pictureBytesMax && Math.max(width, height) <= pictureEdgeMax;
}

/** Whether it is best shown as it is. A GIF may move, which vendors refuse: a copy is made of its first frame. */
export function fitsModels(bytes: Uint8Array, facts: PictureFacts): boolean {
  return (
    facts.mime !== 'image/gif' &&
    isTakenByModels(bytes, facts) &&
    Math.max(facts.width, facts.height) <= pictureEdgeWanted
  );
}

/**
 * Type and size of a picture by its header, for the four types every vision model takes; undefined for anything else. It
 * reads a few fields and decodes nothing, so that a hostile file can at most lie about its size.
 */
export function readPicture(bytes: Uint8Array): PictureFacts | undefined {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = readPng(data) ?? readGif(data) ?? readWebp(data) ?? readJpeg(data);
  return found === undefined || found.width === 0 || found.height === 0 ? undefined : found;
}

function readPng(data: Buffer): PictureFacts | undefined {
  if (data.length < 24 || data.readUInt32BE(0) !== 0x89504e47 || data.toString('latin1', 12, 16) !== 'IHDR') {
    return undefined;
  }
  return { mime: 'image/png', width: data.readUInt32BE(16), height: data.readUInt32BE(20) };
}

function readGif(data: Buffer): PictureFacts | undefined {
  if (data.length < 10 || !/^GIF8[79]a$/.test(data.toString('latin1', 0, 6))) return undefined;
  return { mime: 'image/gif', width: data.readUInt16LE(6), height: data.readUInt16LE(8) };
}

function readWebp(data: Buffer): PictureFacts | undefined {
  if (data.length < 30 || data.toString('latin1', 0, 4) !== 'RIFF' || data.toString('latin1', 8, 12) !== 'WEBP') {
    return undefined;
  }
  const mime = 'image/webp';
  switch (data.toString('latin1', 12, 16)) {
    case 'VP8 ':
      return { mime, width: data.readUInt16LE(26) & 0x3fff, height: data.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = data.readUInt32LE(21);
      return { mime, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { mime, width: data.readUIntLE(24, 3) + 1, height: data.readUIntLE(27, 3) + 1 };
    default:
      return undefined;
  }
}

/** The frame header stands behind any number of other segments, each with its length; photographs have few. */
function readJpeg(data: Buffer): PictureFacts | undefined {
  if (data.length < 4 || data.readUInt16BE(0) !== 0xffd8) return undefined;
  let at = 2;
  for (let segments = 0; segments < 1_000 && at + 9 <= data.length; segments += 1) {
    if (data[at] !== 0xff) return undefined;
    const marker = data[at + 1] ?? 0;
    // Fill bytes may stand before a marker.
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return { mime: 'image/jpeg', width: data.readUInt16BE(at + 7), height: data.readUInt16BE(at + 5) };
    at += 2 + data.readUInt16BE(at + 2);
  }
  return undefined;
}
