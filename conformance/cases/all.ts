// Every case of the suite, in the order in which reports show them.
import type { Case } from '../engine/case.ts';
import { frameCases } from './frames.ts';
import { helloCases } from './hello.ts';
import { idleCases, stopCases } from './idle.ts';
import { prefaceCases } from './preface.ts';
import { pressureCases } from './pressure.ts';
import { requestCases } from './requests.ts';
import { sessionCases } from './session.ts';

export const allCases: readonly Case[] = [
  ...prefaceCases, ...frameCases, ...requestCases, ...helloCases, ...sessionCases, ...idleCases, ...pressureCases, ...stopCases,
];
