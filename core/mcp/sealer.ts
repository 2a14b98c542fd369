/** Seals texts under the installation's master key. What was sealed for one scope opens for no other. */
export interface Sealer {
  seal(scope: string, text: string): Promise<string>;
  /** @throws when it was sealed for another scope, or changed. */
  open(scope: string, sealed: string): Promise<string>;
}
