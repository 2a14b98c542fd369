/** What `sandbox-image/build` tags its results with. */
export const sandboxImage = 'switchyard-sandbox:latest';
export const browserImage = 'switchyard-sandbox-browser:latest';
