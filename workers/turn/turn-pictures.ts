import { loadFile } from '#core/files/load-file.ts';
import { isTakenByModels, readPicture } from '#core/files/picture.ts';
import type { Db } from '#core/kit/database.ts';
import type { ImagePart } from '#core/models/model-port.ts';
import type { LoadedPictures } from '#core/turns/build-context.ts';
import { choosePictures } from '#core/turns/choose-pictures.ts';

/** Bytes of pictures in one request; vendors take 20 to 50 MB of base64, and the rest of the request counts too. */
const requestBytesMax = 12 * 1024 * 1024;

/** The pictures of one turn's requests. What was loaded for one round is kept for the next. */
export class TurnPictures {
  readonly #db: Db;
  #loaded = new Map<string, ImagePart | undefined>();

  constructor(db: Db) {
    this.#db = db;
  }

  /** Those of the conversation that are shown, newest first until they are too many or too large. @param ids oldest first. */
  async load(ids: readonly string[]): Promise<LoadedPictures> {
    const kept = new Map<string, ImagePart | undefined>();
    const shown = new Map<string, ImagePart>();
    let bytes = 0;
    for (const id of choosePictures(ids).toReversed()) {
      const picture = this.#loaded.has(id) ? this.#loaded.get(id) : await this.#read(id);
      kept.set(id, picture);
      if (picture === undefined) continue;
      bytes += (picture.dataBase64.length * 3) / 4;
      if (bytes > requestBytesMax) break;
      shown.set(id, picture);
    }
    this.#loaded = kept;
    return shown;
  }

  async #read(id: string): Promise<ImagePart | undefined> {
    const file = await loadFile(this.#db, id);
    const facts = file === undefined ? undefined : readPicture(file.bytes);
    // A tool of somebody else may bring what vendors refuse, and with it the whole request.
    if (file === undefined || facts === undefined || !isTakenByModels(file.bytes, facts)) return undefined;
    return { type: 'image', ...facts, dataBase64: file.bytes.toString('base64') };
  }
}
