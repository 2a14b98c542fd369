import { AppError } from '#core/kit/errors.ts';
import { driverVersion } from '../browser/driver-protocol.ts';
import { protocolVersion } from './toolbox-protocol.ts';

/** Written by `sandbox-image/Dockerfile` and inherited by every image made `FROM switchyard-sandbox`. */
const toolboxLabel = 'switchyard.toolbox';
/** Of images with a browser: what its driver speaks. */
const driverLabel = 'switchyard.driver';

/** What an image says of itself. */
export type ImageLabels = Readonly<Record<string, string>> | null | undefined;

/**
 * Whether an image can be a sandbox, by its labels alone: a look that costs nothing, at each container that is made.
 * `inspectImage` looks inside.
 * @throws AppError `image.invalid`.
 */
export function requireSandboxImage(image: string, labels: ImageLabels): void {
  const version = labels?.[toolboxLabel];
  if (version === undefined) {
    throw new AppError('image.invalid', `The image ${image} is no sandbox image: it has no toolbox.`, {
      mend: 'Make it FROM switchyard-sandbox; docs/guide/sandbox-images.md shows how.',
    });
  }
  if (version !== String(protocolVersion)) {
    throw new AppError(
      'image.invalid',
      `The image ${image} has a toolbox of version ${version.slice(0, 20)}; this worker speaks ${protocolVersion}.`,
      { mend: 'Run ./switchyard sandbox build --all, then build your own images on top of it again.' },
    );
  }
  const driver = labels?.[driverLabel];
  if (driver !== undefined && driver !== String(driverVersion)) {
    throw new AppError(
      'image.invalid',
      `The browser in the image ${image} is driven by another version of Switchyard.`,
      {
        mend: 'Run ./switchyard sandbox build --browser.',
      },
    );
  }
}
