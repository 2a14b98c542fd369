/** What `sandbox-image/build` tags its result with. */
export const sandboxImage = 'switchyard-sandbox:latest';
