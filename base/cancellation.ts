import { StateError } from "./errors.ts";

const controller = new AbortController();

/** Aborted when the user stops Pulumi. Steps that run end in order, and no further step begins. */
export const cancelled: AbortSignal = controller.signal;

/** Pulumi's engine has this called on the first Ctrl-C. */
export function cancel(): void {
  controller.abort(new StateError("Cancelled; the next `up` goes on from here."));
}
