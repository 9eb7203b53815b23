import { defineConfig } from "vitest/config";

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  test: { include: ["ui/**/*.test.ts", "telecartd/bedside/src/**/*.test.ts", "telecart-hub/console/src/**/*.test.ts"], pool: "threads" },
});
