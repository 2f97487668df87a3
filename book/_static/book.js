// What a static page lacks: a method of MathJax 2, names for people who do not see the page, a search from a file.
(function () {
  "use strict";

  // html-manager speaks MathJax 2 (MathJax.Hub.Queue); MathJax 3 gets that one method.
  document.addEventListener("DOMContentLoaded", function () {
    const mathjax = window.MathJax;
    if (!mathjax || mathjax.Hub) return;
    mathjax.Hub = {
      Queue: function (job) {
        if (job && job[2] && mathjax.typesetPromise) mathjax.typesetPromise([job[2]]).catch(function () {});
      },
    };
  });

  // From a file, a browser lets no page read another: the search lists its results without their summaries.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  // A name that hides the words one sees cannot be said to a computer that listens (WCAG 2.5.3): the words are the name.
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("summary[aria-label], .search-button-field[aria-label]").forEach(function (each) {
      if (each.textContent.trim()) each.removeAttribute("aria-label");
    });
    document.querySelectorAll("button[aria-label] :is(i, svg, kbd, .search-button__kbd-shortcut)").forEach(function (each) {
      each.setAttribute("aria-hidden", "true");
      each.removeAttribute("title");
    });
    // An entry of a list is a list's item; docutils gives it a role that ARIA 1.2 no longer has.
    document.querySelectorAll(".citation[role='doc-biblioentry']").forEach(function (each) {
      each.setAttribute("role", "listitem");
    });
    // What scrolls sideways is reached by the keyboard, too (WCAG 2.1.1).
    document.querySelectorAll('div[style*="overflow-x"], .math.notranslate, pre').forEach(function (each) {
      if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    });
  });

  // A slider's handle has no name of its own: it takes the label's, and the value that the readout shows.
  function name(output) {
    output.querySelectorAll(".widget-hslider").forEach(function (slider) {
      const label = slider.querySelector(".widget-label");
      const handle = slider.querySelector(".noUi-handle");
      const readout = slider.querySelector(".widget-readout");
      if (!label || !handle) return;
      set(handle, "aria-label", label.textContent);
      if (readout) set(handle, "aria-valuetext", readout.textContent);
    });
  }

  function set(element, attribute, value) {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  }

  window.addEventListener("load", function () {
    document.querySelectorAll(".cell_output").forEach(function (output) {
      if (!output.querySelector("script[type='application/vnd.jupyter.widget-view+json'], .widget-subarea")) return;
      const watch = { childList: true, subtree: true, characterData: true };
      new MutationObserver(function () { name(output); }).observe(output, watch);
      name(output);
    });
  });
})();
