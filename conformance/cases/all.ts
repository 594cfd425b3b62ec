// Every case of the suite, in the order in which reports show them.
import type { Case } from '../engine/case.ts';
import { frameCases } from './frames.ts';
import { prefaceCases } from './preface.ts';
import { requestCases } from './requests.ts';

export const allCases: readonly Case[] = [...prefaceCases, ...frameCases, ...requestCases];
