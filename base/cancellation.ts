import { StateError } from "./errors.ts";

const controller = new AbortController();

/** Aborted when the user stops Pulumi: what runs ends in order, and nothing more is begun. */
export const cancelled: AbortSignal = controller.signal;

/** Called by the engine on the first Ctrl-C. */
export function cancel(): void {
  controller.abort(new StateError("Cancelled; the next `up` goes on from here."));
}
