// The panels beside the two answers, in a script of their own.
export { ComparePanel } from "./compare.tsx";
export { ConversationPanel } from "./conversation.tsx";
export { PatchesPanel } from "./patches.tsx";
export { WordsPanel } from "./words.tsx";
