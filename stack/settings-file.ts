import { type StackConfig } from "../infra/settings/table.ts";
import {
  checkConfig,
  checkStacksAgree,
  configError,
  plainPasswords,
  type CheckedConfig,
} from "../infra/settings/check.ts";
import { withChosenAddresses } from "../infra/settings/chosen-addresses.ts";
import { otherDatabaseNames, readSettingsFile } from "../infra/settings/file.ts";
import { UserError } from "../base/errors.ts";

/** @throws ConfigError listing every problem of the stack's settings */
export function readStackConfig(stack: string): StackConfig {
  const { config, problems } = checkSettings(stack);
  if (problems.length > 0) throw configError(stack, problems);
  return config;
}

function checkSettings(stack: string): CheckedConfig {
  const file = readSettingsFile(stack);
  const { config, problems } = checkConfig(stack, withChosenAddresses(stack, file.settings));
  return { config, problems: [...file.problems, ...plainPasswords(stack, Object.keys(file.settings)), ...problems] };
}

/** The settings and all problems of them, also that another stack's database has another name. */
export function checkStackConfig(stack: string): CheckedConfig {
  const { config, problems } = checkSettings(stack);
  try {
    checkAgreement(config);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { config, problems: [...problems, ...error.problems] };
  }
  return { config, problems };
}

/**
 * Checks that every stack with a file in the checkout has the same database name as this one.
 *
 * @throws ConfigError naming each file and its name
 */
export function checkAgreement(config: StackConfig): void {
  checkStacksAgree([config, ...otherDatabaseNames(config.stack).filter(({ stack }) => isUsable(stack))]);
}

/** Whether a stack's settings can be used. If not, commands on that stack say so. */
function isUsable(stack: string): boolean {
  try {
    return checkSettings(stack).problems.length === 0;
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}
