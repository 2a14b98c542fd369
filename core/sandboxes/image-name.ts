/** Repository, tag and digest as engines write them, or an id. Source: the reference grammar of OCI distribution. */
const imageName =
  /^(?=.{1,512}$)(?:sha256:[0-9a-f]{64}|(?:[\w-]+(?:\.[\w-]+)*(?::\d{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)$/;

/** Whether a text can name an image, and leads nowhere else when it is put into the path of a request. */
export function isImageName(text: string): boolean {
  return imageName.test(text) && !/\.\.|\/\//.test(text);
}

/** How an image's name is written, for whoever wrote it otherwise. */
export const imageNameMend = 'Write it as name:tag, such as switchyard-sandbox:latest.';
